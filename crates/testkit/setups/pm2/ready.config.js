// started with: pm2 start ready.config.js
console.log('loading the configuration');
module.exports = [{
  name: 'web app',
  script: 'index.js',
  wait_ready: true,
  listen_timeout: 20000,
  kill_timeout: 3000,
  exp_backoff_restart_delay: 100,
  out_file: './logs/out.log',
  error_file: './logs/err.log',
  merge_logs: true,
  time: true,
}];
