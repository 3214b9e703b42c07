// What `cargo xtask bench limits` measures limits with: each word uses one thing without end, and says how much it had.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

// A byte for every 64 KiB that it has touched. By so many processes at once.
static int memory(size_t mib, int workers, int kind) {
    for (int n = 1; n < workers; n++) if (fork() == 0) break;
    char *all = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return 1;
    for (size_t at = 0; at < mib << 20; at += 65536) {
        for (size_t page = at; page < at + 65536; page += 4096) all[page] = 1;
        write(1, ".", 1);
    }
    for (;;) pause();
}

// A byte for every 10 ms of a processor that it has used.
static int burn(int workers) {
    for (int n = 1; n < workers; n++) if (fork() == 0) break;
    for (double next = 0.01;;)
        if (now(CLOCK_PROCESS_CPUTIME_ID) >= next) { write(1, ".", 1); next += 0.01; }
}

// The share of one processor that all had for so many seconds.
static int spin(int seconds, int workers) {
    double begin = now(CLOCK_MONOTONIC);
    for (int n = 1; n < workers; n++)
        if (fork() == 0) { while (now(CLOCK_MONOTONIC) < begin + seconds) {} _exit(0); }
    while (now(CLOCK_MONOTONIC) < begin + seconds) {}
    while (wait(NULL) > 0) {}
    double used = 0, took = now(CLOCK_MONOTONIC) - begin;
    for (int who = 0; who < 2; who++) {
        struct rusage use;
        getrusage(who ? RUSAGE_CHILDREN : RUSAGE_SELF, &use);
        used += use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    }
    printf("%f\n", used / took);
    return 0;
}

static int flood(void) {
    char all[65536];
    memset(all, 'x', sizeof all);
    for (;;) write(1, all, sizeof all);
}

static void stay(void) {
    for (int signal_ = 1; signal_ < 32; signal_++) signal(signal_, SIG_IGN);
    for (;;) pause();
}

// Three that can't be asked to end: one stays, one has a session of its own, one has left its parents behind.
static int leave(void) {
    if (fork() == 0) { setsid(); stay(); }
    if (fork() == 0) { if (fork() == 0) { setsid(); for (int fd = 0; fd < 3; fd++) close(fd); stay(); } _exit(0); }
    write(1, "left\n", 5);
    stay();
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int first = argc > 2 ? atoi(argv[2]) : 0, second = argc > 3 ? atoi(argv[3]) : 1;
    if (!strcmp(what, "memory")) return memory(first, second, MAP_PRIVATE);
    if (!strcmp(what, "shared")) return memory(first, second, MAP_SHARED);
    if (!strcmp(what, "burn")) return burn(first);
    if (!strcmp(what, "spin")) return spin(first, second);
    if (!strcmp(what, "flood")) return flood();
    if (!strcmp(what, "leave")) return leave();
    return 2;
}
