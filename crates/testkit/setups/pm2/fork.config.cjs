const shared = { cwd: __dirname, autorestart: true, watch: false, max_restarts: 10, min_uptime: '5s' };
module.exports = {
  apps: [
    { ...shared, name: 'web', script: 'npm', args: 'run start' },
    { ...shared, name: 'worker', script: 'worker.js', node_args: '--max-old-space-size=256', restart_delay: 4000 },
  ],
  deploy: {
    production: { user: 'deploy', host: ['10.0.0.1'], ref: 'origin/main', repo: 'git@example.org:app.git', path: '/srv/app' },
  },
};
