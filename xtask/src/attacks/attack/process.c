// Other processes, descriptors, terminals, its own privileges.
// Any environment but its own.
static void environ_of(void) {
    int pids[] = {getppid(), 1, atoi(arg(2))};
    char path[64], byte;
    for (int at = 0; at < 3; at++) {
        if (pids[at] <= 0 || pids[at] == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/environ", pids[at]);
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && read(fd, &byte, 1) == 1) pwned();
    }
    blocked("environ of others");
}

static void descriptors(void) {
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) { printf("descriptor %d\n", fd); pwned(); }
    blocked("fcntl");
}

static void type_ahead(void) {
    int fd = open("/dev/tty", O_RDWR);
    char byte = ' ';
    if (fd >= 0 && ioctl(fd, TIOCSTI, &byte) == 0) pwned();
    if (ioctl(0, TIOCSTI, &byte) == 0) pwned();
    blocked("TIOCSTI");
}

static void kill_victim(void) { if (kill(atoi(arg(2)), SIGTERM) < 0) blocked("kill"); pwned(); }

// The other calls that signal.
static void signal_otherwise(void) {
    int pid = atoi(arg(2)), pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (syscall(SYS_tgkill, pid, pid, SIGTERM) == 0) pwned();
    if (syscall(SYS_tkill, pid, SIGTERM) == 0) pwned();
    if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, 0, 0) == 0) pwned();
    blocked("tgkill");
}

// The tool looks whether the grandchild is there afterwards.
static void daemonise(void) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0) { close(0); close(1); close(2); for (int n = 0; n < 60; n++) sleep(1); }
        _exit(0);
    }
    wait(NULL);
    printf("left one behind\n");
    exit(0);
}

static void attach(void) {
    int pid = atoi(arg(2));
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) < 0) blocked("ptrace");
    waitpid(pid, NULL, __WALL);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    pwned();
}
static void peek(void) {
    unsigned long there = strtoul(arg(3), NULL, 16);
    char byte;
    struct iovec here = {&byte, 1}, other = {(void *)there, 1};
    if (process_vm_readv(atoi(arg(2)), &here, 1, &other, 1, 0) != 1) blocked("process_vm_readv");
    pwned();
}
static void steal(void) {
    int pidfd = syscall(SYS_pidfd_open, atoi(arg(2)), 0);
    if (pidfd < 0) blocked("pidfd_open");
    MUST(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
    pwned();
}

static void core(void) {
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}, now;
    setrlimit(RLIMIT_CORE, &all);
    getrlimit(RLIMIT_CORE, &now);
    if (now.rlim_cur == 0 && now.rlim_max == 0) { errno = EPERM; blocked("RLIMIT_CORE"); }
    if (now.rlim_cur == 0) { now.rlim_cur = now.rlim_max; MUST(setrlimit(RLIMIT_CORE, &now)); }
    pwned();
}
static void nicer(void) { errno = 0; if (setpriority(PRIO_PROCESS, 0, -5) < 0) blocked("setpriority"); pwned(); }
static void realtime(void) { struct sched_param p = {1}; MUST(sched_setscheduler(0, SCHED_FIFO, &p)); pwned(); }
static void oom_score(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    if (fd < 0) blocked("open of oom_score_adj");
    MUST(write(fd, "-900", 4));
    pwned();
}

// Started from a file that is setuid root.
static void setuid_root(void) {
    if (*arg(3)) { if (geteuid() == 0) pwned(); errno = EPERM; blocked("geteuid"); }
    execl(arg(2), arg(2), "setuid", arg(2), "inside", (char *)NULL);
    blocked("exec of a setuid file");
}

// The tool looks whether it is mounted outside too.
static void propagate(void) { MUST(mount("none", arg(2), "tmpfs", 0, "size=4k")); printf("mounted\n"); }
// Holds its output open in a grandchild, and never reads.
static void hold(void) {
    if (fork() == 0) { setsid(); if (fork() == 0) for (int n = 0; n < 20; n++) sleep(1); _exit(0); }
    wait(NULL);
    printf("left one behind\n");
}
