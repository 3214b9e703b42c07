// Files: reading, writing and running what is not its own.
static void copy_self(int to) {
    char buffer[65536];
    int from = open("/proc/self/exe", O_RDONLY);
    if (from < 0) from = open(arg(0), O_RDONLY);
    if (from < 0) blocked("open of itself");
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;) MUST(write(to, buffer, got));
    close(from);
}

static void memfd(void) {
    int fd = syscall(SYS_memfd_create, "x", 0);
    if (fd < 0) blocked("memfd_create");
    copy_self(fd);
    char *argv[] = {"x", "say", NULL}, *env[] = {NULL};
    syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
    blocked("execveat of a memfd");
}

// arg 2: folder; arg 3: what to run it with, if not itself.
static void upload(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/up-%d", arg(2), getpid());
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0755);
    if (fd < 0) blocked("open of the upload");
    copy_self(fd);
    close(fd);
    if (*arg(3)) execl(arg(3), arg(3), path, "uploaded", (char *)NULL);
    else execl(path, path, "uploaded", (char *)NULL);
    int kept = errno;
    unlink(path);
    errno = kept;
    blocked("exec of the upload");
}

static void uploaded(void) { unlink(arg(0)); pwned(); }

static void read_file(void) {
    char byte;
    int fd = open(arg(2), O_RDONLY);
    if (fd < 0) blocked("open");
    if (read(fd, &byte, 1) != 1) blocked("read");
    pwned();
}

// Opened, never written.
static void open_to_write(void) { int fd = open(arg(2), O_WRONLY); if (fd < 0) blocked("open for writing"); pwned(); }
static void create_in(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/ganger-attack-%d", arg(2), getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0) blocked("create");
    unlink(path);
    pwned();
}

// The file it runs from is either ours or that of whoever put another one there: the honest one ends in this word.
static void who(void) {
    char end[6];
    int fd = open("/proc/self/exe", O_RDONLY);
    if (fd < 0) blocked("open of itself");
    if (lseek(fd, -(off_t)sizeof end, SEEK_END) < 0 || read(fd, end, sizeof end) != sizeof end) blocked("read of itself");
    if (memcmp(end, "HONEST", sizeof end) != 0) pwned();
    printf("honest\n");
}
static void home_file(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("HOME") ? getenv("HOME") : "", arg(2));
    args[2] = path;
    read_file();
}
static void at_file(void) { if (arg(2)[0] == '@') args[2]++; read_file(); }
// arg 2: a path beneath the working folder's parent; by every handle on the outside that there may be.
static void leak(void) {
    char path[512], byte;
    const char *forms[] = {"../%s", "/proc/self/cwd/../%s", "/proc/1/cwd/../%s", "/proc/self/root/%s", "/proc/1/root/%s"};
    for (int at = 0; at < 5 + 32; at++) {
        if (at < 5) snprintf(path, sizeof path, forms[at], arg(at < 3 ? 2 : 3));
        else snprintf(path, sizeof path, "/proc/self/fd/%d/../%s", at - 5, arg(2));
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && read(fd, &byte, 1) == 1) pwned();
    }
    blocked("open of a path outside");
}
static void hard_link(void) {
    unlink(arg(3));
    if (link(arg(2), arg(3)) < 0) blocked("link");
    args[2] = args[3];
    read_file();
}
