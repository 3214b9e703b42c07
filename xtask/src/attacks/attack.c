// The attacks of `cargo xtask attacks`: one program, one attack a name. It says BEGAN when it runs at all and PWNED when it had
// what it wanted; everything else is a block, and the last line says at which call and with which errno.
//
// Nothing here harms the machine it runs on, also as root with every layer off: files of the system are opened, not written,
// mounts are made in a folder of the stage and undone, signals go to a process that the tool started for that.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <grp.h>

static int argn;
static char **args;
static const char *arg(int at) { return at < argn ? args[at] : ""; }
static void blocked(const char *call) { printf("blocked at %s: %s\n", call, strerror(errno)); exit(1); }
static void pwned(void) { printf("PWNED\n"); fflush(stdout); exit(0); }
#define MUST(call) ((long)(call) < 0 ? blocked(#call) : (void)0)

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
    if (*arg(3)) execl(arg(3), arg(3), path, "say", (char *)NULL);
    else execl(path, path, "say", (char *)NULL);
    int kept = errno;
    unlink(path);
    errno = kept;
    blocked("exec of the upload");
}

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

static void userns(void) { MUST(unshare(CLONE_NEWUSER)); pwned(); }
static void clone3_ns(void) {
    unsigned long long clone_args[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long pid = syscall(SYS_clone3, clone_args, 88);
    if (pid < 0) blocked("clone3");
    if (pid == 0) _exit(0);
    waitpid(pid, NULL, 0);
    pwned();
}
static void cover(void) {
    uid_t uid = getuid();
    (void)uid;
    MUST(unshare(CLONE_NEWUSER | CLONE_NEWNS));
    MUST(mount("none", arg(2), "tmpfs", 0, "size=4k"));
    pwned();
}
static void enter(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/net", *arg(2) ? arg(2) : "1");
    int fd = open(path, O_RDONLY);
    if (fd < 0) fd = open("/proc/1/ns/net", O_RDONLY);
    if (fd < 0) blocked("open of a namespace");
    MUST(setns(fd, CLONE_NEWNET));
    pwned();
}
static void change_root(void) { MUST(chroot("/tmp")); pwned(); }
static void mounting(void) {
    MUST(mount("none", arg(2), "tmpfs", 0, "size=4k"));
    umount(arg(2));
    pwned();
}
static void open_fs(void) { int fd = syscall(SYS_fsopen, "tmpfs", 0); if (fd < 0) blocked("fsopen"); pwned(); }
static void take_tree(void) { int fd = syscall(SYS_open_tree, AT_FDCWD, "/", 1 | O_CLOEXEC); if (fd < 0) blocked("open_tree"); pwned(); }
static void uring(void) { char params[512] = {0}; MUST(syscall(SYS_io_uring_setup, 1, params)); pwned(); }
static void fault(void) { int fd = syscall(SYS_userfaultfd, 1); if (fd < 0) blocked("userfaultfd"); pwned(); }
static void key(void) { MUST(syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING)); pwned(); }
static void perf(void) {
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK,
                                   .exclude_kernel = 1, .exclude_hv = 1};
    MUST(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
    pwned();
}
static void bpf(void) { unsigned int attr[32] = {2, 4, 4, 1}; MUST(syscall(SYS_bpf, 0, attr, sizeof attr)); pwned(); }
static void by_handle(void) {
    struct { struct file_handle handle; char room[128]; } at = {.handle = {.handle_bytes = 128}};
    int mount_id, root = open("/", O_RDONLY);
    MUST(name_to_handle_at(AT_FDCWD, arg(2), &at.handle, &mount_id, 0));
    int fd = open_by_handle_at(root, &at.handle, O_RDONLY);
    if (fd < 0) blocked("open_by_handle_at");
    pwned();
}
static void layout(void) { MUST(personality(ADDR_NO_RANDOMIZE)); if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) blocked("personality"); pwned(); }
static void node(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/node-%d", arg(2), getpid());
    MUST(mknod(path, S_IFCHR | 0600, makedev(1, 5)));
    int fd = open(path, O_RDONLY);
    unlink(path);
    if (fd < 0) blocked("open of a device node");
    pwned();
}
static void filter(void) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog prog = {1, &allow};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
    pwned();
}
static void groups(void) { MUST(setgroups(0, NULL)); pwned(); }
static void future(void) { if (syscall(600) < 0 && errno == ENOSYS) blocked("call 600"); pwned(); }

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
// arg 2: family, arg 3: type
static void family(void) { int fd = socket(atoi(arg(2)), atoi(arg(3)), 0); if (fd < 0) blocked("socket"); pwned(); }
static void shm(void) { MUST(shmget(atoi(arg(2)), 4096, 0)); pwned(); }
static void shm_make(void) { MUST(shmget(atoi(arg(2)), 4096, IPC_CREAT | 0666)); printf("made\n"); }
static void shm_drop(void) { shmctl(shmget(atoi(arg(2)), 4096, 0), IPC_RMID, NULL); }

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
    char *all = mmap(NULL, most, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) blocked("mmap");
    for (size_t at = 0; at < most; at += 4096) all[at] = 1;
    usleep(300000);
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
static void variable(void) { if (getenv(arg(2))) pwned(); errno = ENOENT; blocked("getenv"); }
static void say(void) { pwned(); }
static void echo(void) { for (int at = 2; at < argn; at++) printf("<%s>\n", arg(at)); }

static const struct { const char *name; void (*run)(void); } all[] = {
    {"memfd", memfd}, {"upload", upload}, {"read", read_file}, {"open-w", open_to_write}, {"create", create_in},
    {"environ", environ_of}, {"fds", descriptors}, {"tiocsti", type_ahead}, {"kill", kill_victim}, {"daemonise", daemonise},
    {"ptrace", attach}, {"peek", peek}, {"getfd", steal}, {"core", core}, {"nice", nicer}, {"fifo", realtime},
    {"oom", oom_score}, {"setuid", setuid_root}, {"userns", userns}, {"clone3", clone3_ns}, {"cover", cover}, {"setns", enter},
    {"chroot", change_root}, {"mount", mounting}, {"fsopen", open_fs}, {"open-tree", take_tree}, {"io-uring", uring},
    {"userfaultfd", fault}, {"add-key", key}, {"perf", perf}, {"bpf", bpf}, {"by-handle", by_handle}, {"personality", layout},
    {"mknod", node}, {"filter", filter}, {"setgroups", groups}, {"future", future}, {"tcp", tcp}, {"udp", udp},
    {"unix", unix_socket}, {"socket", family}, {"shm", shm}, {"shm-make", shm_make}, {"shm-drop", shm_drop}, {"bomb", bomb},
    {"memory", memory}, {"outlive", outlive}, {"fill", fill}, {"files", many_files}, {"variable", variable}, {"say", say},
    {"echo", echo},
};

int main(int argc, char **argv) {
    argn = argc;
    args = argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("BEGAN\n");
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        if (strcmp(all[at].name, arg(1)) == 0) { all[at].run(); return 0; }
    printf("no such attack\n");
    return 2;
}
