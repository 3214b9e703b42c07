// Not an attack: what follows runs as on a machine that lacks a layer.
static void must_write(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) blocked(path);
    close(fd);
}
static void fail_call(int nr, long first, int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, first < 0 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}
// A user namespace of the same user in which something may be had no more.
static void own_users(void) {
    char line[64];
    int uid = geteuid(), gid = getegid();
    MUST(unshare(CLONE_NEWUSER));
    must_write("/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "%d %d 1", uid, uid);
    must_write("/proc/self/uid_map", line);
    snprintf(line, sizeof line, "%d %d 1", gid, gid);
    must_write("/proc/self/gid_map", line);
}
// arg 2: layer; the rest: what to run
static void without(void) {
    static const struct { const char *layer, *sysctl; } counted[] = {
        {"user", "user"}, {"mount", "mnt"}, {"pid", "pid"}, {"net", "net"}, {"ipc", "ipc"}, {"uts", "uts"}, {"cgroup", "cgroup"}};
    const char *layer = arg(2), *sysctl = NULL;
    for (size_t at = 0; at < sizeof counted / sizeof *counted; at++)
        if (strcmp(counted[at].layer, layer) == 0) sysctl = counted[at].sysctl;
    if (sysctl || geteuid() != 0) own_users();
    if (sysctl) {
        char path[64];
        snprintf(path, sizeof path, "/proc/sys/user/max_%s_namespaces", sysctl);
        must_write(path, "0");
    } else if (strcmp(layer, "landlock") == 0) fail_call(444, -1, EOPNOTSUPP);
    else if (strcmp(layer, "capabilities") == 0) fail_call(SYS_capset, -1, EPERM);
    else if (strcmp(layer, "no_new_privs") == 0) fail_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, EINVAL);
    else if (strcmp(layer, "seccomp") == 0) fail_call(SYS_prctl, PR_SET_SECCOMP, EINVAL), fail_call(SYS_seccomp, -1, ENOSYS);
    execvp(arg(3), args + 3);
    blocked("exec");
}
