// Using up what there is.
static void bomb(void) {
    int most = atoi(arg(2)), made = 0;
    pid_t pids[4096];
    while (made < most && made < 4096) {
        pid_t pid = fork();
        if (pid < 0) break;
        if (pid == 0) { pause(); _exit(0); }
        pids[made++] = pid;
    }
    int kept = errno;
    for (int at = 0; at < made; at++) { kill(pids[at], SIGKILL); waitpid(pids[at], NULL, 0); }
    printf("%d processes\n", made);
    errno = kept;
    if (made < most) blocked("fork");
    pwned();
}
static void memory(void) {
    size_t most = strtoul(arg(2), NULL, 10) << 20;
    int kind = strcmp(arg(3), "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
    // In eight processes.
    int parts = strcmp(arg(3), "parts") == 0 ? 8 : 1, failed = 0;
    most /= parts;
    for (int n = 1; n < parts; n++) if (fork() == 0) parts = 0;
    char *all = mmap(NULL, most, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) blocked("mmap");
    for (size_t at = 0; at < most; at += 4096) all[at] = 1;
    usleep(300000);
    if (parts == 0) _exit(0);
    for (int status; wait(&status) > 0;) failed += status != 0;
    if (failed) { errno = ENOMEM; blocked("a part of it"); }
    pwned();
}
static void outlive(void) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    for (int n = 0; n < atoi(arg(2)); n++) sleep(1);
    pwned();
}
static void fill(void) {
    char path[512], block[65536] = {1};
    snprintf(path, sizeof path, "%s/fill-%d", arg(2), getpid());
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0) blocked("open");
    for (int n = 0; n < atoi(arg(3)) * 16; n++)
        if (write(fd, block, sizeof block) < 0) { int kept = errno; unlink(path); errno = kept; blocked("write"); }
    unlink(path);
    pwned();
}
static void many_files(void) {
    char path[512];
    int most = atoi(arg(3)), made = 0, kept = 0;
    for (; made < most; made++) {
        snprintf(path, sizeof path, "%s/many-%d-%d", arg(2), getpid(), made);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        if (fd < 0) { kept = errno; break; }
        close(fd);
    }
    for (int at = 0; at < made; at++) { snprintf(path, sizeof path, "%s/many-%d-%d", arg(2), getpid(), at); unlink(path); }
    printf("%d files\n", made);
    errno = kept;
    if (made < most) blocked("create");
    pwned();
}
static double used(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void *burn(void *until) { while (used(CLOCK_PROCESS_CPUTIME_ID) < *(double *)until) {} return NULL; }
// arg 2: threads, arg 3: seconds of all of them, arg 4: so many processes
static void spin(void) {
    double until = atof(arg(3));
    int processes = *arg(4) ? atoi(arg(4)) : 1;
    for (int n = 1; n < processes; n++) if (fork() == 0) { burn(&until); _exit(0); }
    pthread_t threads[64];
    int most = atoi(arg(2)), made = 0;
    while (made < most && made < 64 && pthread_create(&threads[made], NULL, burn, &until) == 0) made++;
    burn(&until);
    while (made > 0) pthread_join(threads[--made], NULL);
    for (int status; wait(&status) > 0;) if (status) blocked("a child of it");
    pwned();
}
static void flood(void) {
    char block[65536];
    memset(block, 'y', sizeof block);
    for (int n = 0; n < atoi(arg(2)) * 16; n++) MUST(write(1, block, sizeof block));
    printf("\n");
    pwned();
}
static void drip(void) {
    for (int n = 0; n < atoi(arg(2)); n++) MUST(write(1 + n % 2, "\n", 1));
    pwned();
}
// arg 2: folder, arg 3: MiB, arg 4: at the end of a hole instead of all of it
static void allocate(void) {
    char path[512];
    off_t bytes = (off_t)atoi(arg(3)) << 20;
    snprintf(path, sizeof path, "%s/room-%d", arg(2), getpid());
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd < 0) blocked("open");
    unlink(path);
    if (*arg(4)) MUST(pwrite(fd, "x", 1, bytes));
    else MUST(fallocate(fd, 0, 0, bytes));
    pwned();
}
static int one_more(const char *kind) {
    int fds[2];
    if (strcmp(kind, "pipes") == 0) return pipe(fds);
    if (strcmp(kind, "sockets") == 0) return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
    return open("/dev/null", O_RDONLY);
}
static void many(void) {
    struct rlimit most;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    for (int n = 0; n < atoi(arg(3)); n++) if (one_more(arg(2)) < 0) blocked(arg(2));
    pwned();
}
// Memory of the kernel: what is sent and never received.
static void unread(void) {
    struct rlimit most;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    static char block[65536];
    size_t sent = 0, wanted = strtoul(arg(2), NULL, 10) << 20;
    while (sent < wanted) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0) blocked("socketpair");
        for (ssize_t got; (got = write(fds[0], block, sizeof block)) > 0;) sent += got;
    }
    pwned();
}
static long deep(long left) { volatile char frame[4096]; frame[0] = 1; return left > 0 ? deep(left - 1) + frame[0] : 0; }
// A stack has the size that holds at exec.
static void recurse(void) {
    if (!*arg(3)) {
        struct rlimit stack = {RLIM_INFINITY, RLIM_INFINITY};
        if (setrlimit(RLIMIT_STACK, &stack) < 0) blocked("setrlimit");
        execl(arg(0), arg(0), "recurse", arg(2), "again", (char *)NULL);
        blocked("exec of itself");
    }
    deep(atol(arg(2)) << 8);
    pwned();
}
static void *idle(void *unused) { pause(); return unused; }
static void many_threads(void) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    for (int n = 0; n < atoi(arg(2)); n++) if ((errno = pthread_create(&thread, &attr, idle, NULL)) != 0) blocked("pthread_create");
    pwned();
}
static void zombies(void) {
    for (int n = 0; n < atoi(arg(2)); n++) {
        pid_t pid = fork();
        if (pid < 0) blocked("fork");
        if (pid == 0) _exit(0);
    }
    pwned();
}
