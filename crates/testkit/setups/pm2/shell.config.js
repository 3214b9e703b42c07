const isProduction = process.env.NODE_ENV === 'production';
module.exports = {
  apps: [
    { name: 'docs', script: 'npm run docs -- --port 4000' },
    { name: 'queue', script: 'artisan', interpreter: 'php', args: 'queue:work', instances: isProduction ? 'max' : 1, max_memory_restart: '1G' },
    { name: 'docs', script: 'bin/www' },
  ],
};
