/* A process that costs nothing (`load idle`), 0.5 ms of processor time each second (`load busy`), or the parent of so many that cost
   nothing (`load tree 10000`). */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "tree"))
        for (int n = atoi(argv[2]); n > 0; n--)
            if (fork() == 0)
                for (;;) pause();
    if (argc < 2 || strcmp(argv[1], "busy"))
        for (;;) pause();
    for (;;) {
        long long until = now(CLOCK_PROCESS_CPUTIME_ID) + 500000;
        while (now(CLOCK_PROCESS_CPUTIME_ID) < until) {}
        struct timespec rest = {0, 999000000};
        nanosleep(&rest, NULL);
    }
}
