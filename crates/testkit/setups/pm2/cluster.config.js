module.exports = {
  apps: [
    {
      name: 'api',
      script: 'index.js',
      instances: 2,
      exec_mode: 'cluster',
      max_memory_restart: '300M',
      env: { NODE_ENV: 'development', PORT: 3000 },
      env_production: { NODE_ENV: 'production', PORT: 8080 },
    },
  ],
};
