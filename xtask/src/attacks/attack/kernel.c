// Namespaces, mounts, and parts of the kernel that few programs need.
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
// arg 2: a folder that it sees; arg 3: a file in it. What a handle leads to need not be seen.
static void by_handle(void) {
    struct { struct file_handle handle; char room[128]; } at = {.handle = {.handle_bytes = 128}};
    int mount_id, folder = open(arg(2), O_RDONLY);
    if (folder < 0) blocked("open of the folder");
    MUST(name_to_handle_at(AT_FDCWD, arg(3), &at.handle, &mount_id, 0));
    int fd = open_by_handle_at(folder, &at.handle, O_RDONLY);
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

// Success is everything but "there is no such call" and "not for you".
static void call(void) {
    if (syscall(atol(arg(2)), atol(arg(3)), atol(arg(4)), atol(arg(5)), 0, 0, 0) < 0 && (errno == ENOSYS || errno == EPERM)) blocked(arg(2));
    pwned();
}
static void no_such_call(void) {
    if (syscall(600) < 0 && errno == ENOSYS) { printf("ENOSYS\n"); return; }
    blocked("call 600");
}
static void lock_memory(void) { MUST(mlockall(MCL_CURRENT | MCL_FUTURE)); pwned(); }
static void read_exec(void) { MUST(personality(READ_IMPLIES_EXEC)); if (!(personality(0xffffffff) & READ_IMPLIES_EXEC)) blocked("personality"); pwned(); }
