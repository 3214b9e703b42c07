const env = { LOG_LEVEL: 'info', QUEUE: `mail-${1 + 1}` };
export default {
  apps: ['mail', 'images'].map((name) => ({ name, script: 'worker.js', args: ['--queue', name], env })),
};
