// What the villains of `cargo xtask stories` do: `story act WORD`. It says BEGAN when it runs at all, and what became of its try.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int act(const char *what) {
    char *argv[] = {"story", "say", NULL}, *env[] = {NULL};
    if (!strcmp(what, "unshare")) return unshare(CLONE_NEWUSER);
    if (!strcmp(what, "ptrace")) return (int)ptrace(PTRACE_ATTACH, getppid(), 0, 0);
    if (!strcmp(what, "mount")) return mount("none", "/tmp", "tmpfs", 0, "size=4k");
    if (!strcmp(what, "packet")) return socket(AF_PACKET, SOCK_RAW, 0);
    if (!strcmp(what, "execveat")) return (int)syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", argv, env, 0);
    errno = EINVAL;
    return -1;
}

// Two forks and a session of its own: it wants to be there when the run is over.
static void leave(void) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0) { close(0); close(1); close(2); for (int n = 0; n < 60; n++) sleep(1); }
        _exit(0);
    }
    wait(NULL);
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "", *word = argc > 2 ? argv[2] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("BEGAN\n");
    if (!strcmp(verb, "act")) { printf("%s: %s\n", word, act(word) < 0 ? strerror(errno) : "DONE"); return 1; }
    if (!strcmp(verb, "leave")) { leave(); return 0; }
    if (!strcmp(verb, "slow")) { for (int n = 0; n < 60; n++) sleep(1); return 0; }
    if (!strcmp(verb, "say")) { for (int at = 2; at < argc; at++) printf("%s\n", argv[at]); return 0; }
    return 2;
}
