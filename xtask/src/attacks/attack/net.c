// Sockets and what is shared between processes by name.
static void tcp(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arg(2))), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) blocked("socket");
    MUST(connect(fd, (void *)&to, sizeof to));
    pwned();
}
static void udp(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(arg(2))), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) blocked("socket");
    MUST(sendto(fd, "x", 1, 0, (void *)&to, sizeof to));
    pwned();
}
static void unix_socket(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *name = arg(2);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) blocked("socket");
    snprintf(to.sun_path, sizeof to.sun_path, "%s", name);
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] == '/');
    if (name[0] == '@') to.sun_path[0] = 0;
    MUST(connect(fd, (void *)&to, len));
    pwned();
}
// arg 2: family, arg 3: type, arg 4: protocol
static void family(void) { int fd = socket(atoi(arg(2)), atoi(arg(3)), atoi(arg(4))); if (fd < 0) blocked("socket"); pwned(); }
static void shm(void) { MUST(shmget(atoi(arg(2)), 4096, 0)); pwned(); }
static void shm_make(void) { MUST(shmget(atoi(arg(2)), 4096, IPC_CREAT | 0666)); printf("made\n"); }
static void shm_drop(void) { shmctl(shmget(atoi(arg(2)), 4096, 0), IPC_RMID, NULL); }

static void queue(void) {
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    int fd = mq_open(arg(2), *arg(3) ? O_CREAT | O_RDWR : O_RDONLY, 0666, *arg(3) ? &attr : NULL);
    if (fd < 0) blocked("mq_open");
    if (!*arg(3)) pwned();
}
static void queue_drop(void) { mq_unlink(arg(2)); }
