# Stands for a web server: it was given its port as Procfile programs expect.
echo "$APP_NAME listens on port $PORT"
exec sleep 1000000
