// The attacks of `cargo xtask attacks`: one program, one attack a name. It says BEGAN when it runs at all and PWNED when it had
// what it wanted; everything else is a block, and the last line says at which call and with which errno.
//
// Nothing here harms the machine it runs on, also as root with every layer off: files of the system are opened, not written,
// mounts are made in a folder of the stage and undone, signals go to a process that the tool started for that.
#include "base.h"
#include "files.c"
#include "process.c"
#include "kernel.c"
#include "net.c"
#include "load.c"
#include "without.c"

static void variable(void) { if (getenv(arg(2))) pwned(); errno = ENOENT; blocked("getenv"); }
static void say(void) { pwned(); }
static void echo(void) { for (int at = 2; at < argn; at++) printf("<%s>\n", arg(at)); }

static const struct { const char *name; void (*run)(void); } all[] = {
    {"memfd", memfd}, {"upload", upload}, {"uploaded", uploaded}, {"read", read_file}, {"open-w", open_to_write}, {"create", create_in},
    {"environ", environ_of}, {"fds", descriptors}, {"tiocsti", type_ahead}, {"kill", kill_victim}, {"signal", signal_otherwise}, {"daemonise", daemonise},
    {"ptrace", attach}, {"peek", peek}, {"getfd", steal}, {"core", core}, {"nice", nicer}, {"fifo", realtime},
    {"oom", oom_score}, {"setuid", setuid_root}, {"userns", userns}, {"clone3", clone3_ns}, {"cover", cover}, {"setns", enter},
    {"chroot", change_root}, {"mount", mounting}, {"fsopen", open_fs}, {"open-tree", take_tree}, {"io-uring", uring},
    {"userfaultfd", fault}, {"add-key", key}, {"perf", perf}, {"bpf", bpf}, {"by-handle", by_handle}, {"personality", layout},
    {"mknod", node}, {"filter", filter}, {"setgroups", groups}, {"tcp", tcp}, {"udp", udp},
    {"unix", unix_socket}, {"socket", family}, {"shm", shm}, {"shm-make", shm_make}, {"shm-drop", shm_drop}, {"bomb", bomb},
    {"memory", memory}, {"outlive", outlive}, {"fill", fill}, {"files", many_files}, {"variable", variable}, {"say", say},
    {"echo", echo}, {"who", who}, {"home", home_file}, {"at-file", at_file}, {"leak", leak}, {"link", hard_link},
    {"propagate", propagate}, {"hold", hold}, {"call", call}, {"no-such-call", no_such_call}, {"mlockall", lock_memory},
    {"read-exec", read_exec}, {"queue", queue}, {"queue-drop", queue_drop}, {"spin", spin}, {"flood", flood}, {"drip", drip},
    {"allocate", allocate}, {"many", many}, {"unread", unread}, {"recurse", recurse}, {"threads", many_threads},
    {"zombies", zombies}, {"without", without},
};

int main(int argc, char **argv) {
    // Paths that a policy is to show stand before the attack.
    while (argc > 1 && argv[1][0] == '-') { argv[1] = argv[0]; argv++; argc--; }
    argn = argc;
    args = argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(arg(1), "without") == 0) without();
    printf("BEGAN\n");
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        if (strcmp(all[at].name, arg(1)) == 0) { all[at].run(); return 0; }
    printf("no such attack\n");
    return 2;
}
