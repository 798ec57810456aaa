/* What plug-trace must see: each argument is one thing to do. */
#define _GNU_SOURCE /* dlmopen */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

jmp_buf trace_jump;

static void *open_one(const char *name, int mode)
{
    void *handle = dlopen(name, mode);

    printf("open %s %d\n", name, handle != NULL);
    return handle;
}

static void close_one(const char *name, void *handle)
{
    int failed = dlclose(handle);
    void *still = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);

    printf("close %s %d %d\n", name, failed, still != NULL);
    if (still)
        dlclose(still);
}

static void open_and_close(const char *name, int mode)
{
    void *handle = open_one(name, mode);
    void (*call)(void) = handle ? (void (*)(void))dlsym(handle, "use") : NULL;

    if (call)
        call();
    if (handle)
        close_one(name, handle);
}

static void relocation(void)
{
    void *definer = open_one("libdefiner.so", RTLD_NOW | RTLD_GLOBAL);
    void *user = open_one("libuser.so", RTLD_NOW);

    close_one("libdefiner.so", definer);
    dlclose(user);
}

static void needed(void)
{
    void *leaf = open_one("libleaf.so", RTLD_NOW);
    void *tree = open_one("libtree.so", RTLD_NOW);

    close_one("libleaf.so", leaf);
    dlclose(tree);
}

static void second_libc(void)
{
    void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);

    dlclose(libc);
}

static void cycles(int count)
{
    for (int i = 0; i < count; i++) {
        void *handle = dlopen("libleaf.so", RTLD_NOW);

        dlclose(handle);
    }
    printf("cycles %d\n", count);
}

static void jump(void)
{
    if (setjmp(trace_jump) == 0)
        open_one("libjumper.so", RTLD_NOW);
    else
        printf("jumped\n");
    dlsym(RTLD_DEFAULT, "no_such_symbol");
    open_one("libleaf.so", RTLD_NOW);
}

static void child(char **argv, int run_again)
{
    pid_t pid = fork();

    if (pid == 0) {
        open_one("libleaf.so", RTLD_NOW);
        if (run_again)
            execl("/proc/self/exe", argv[0], "leak", (char *)NULL);
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    open_one("libtree.so", RTLD_NOW);
}

static int run(char **argv, const char *what)
{
    if (!strcmp(what, "leak"))
        open_one("libleaf.so", RTLD_NOW);
    else if (!strcmp(what, "twice")) {
        open_one("libleaf.so", RTLD_NOW);
        open_and_close("libleaf.so", RTLD_LAZY | RTLD_GLOBAL);
    } else if (!strcmp(what, "nodelete"))
        open_and_close("libleaf.so", RTLD_NOW | RTLD_NODELETE);
    else if (!strcmp(what, "unique"))
        open_and_close("libunique.so", RTLD_NOW);
    else if (!strcmp(what, "local"))
        open_and_close("liblocal.so", RTLD_NOW);
    else if (!strcmp(what, "relocation"))
        relocation();
    else if (!strcmp(what, "needed"))
        needed();
    else if (!strcmp(what, "namespace"))
        second_libc();
    else if (!strcmp(what, "threads"))
        open_and_close("libthreads.so", RTLD_NOW);
    else if (!strcmp(what, "jump"))
        jump();
    else if (!strcmp(what, "fork"))
        child(argv, 0);
    else if (!strcmp(what, "forkexec"))
        child(argv, 1);
    else if (!strcmp(what, "exec"))
        execl("/proc/self/exe", argv[0], "leak", (char *)NULL);
    else if (!strcmp(what, "missing"))
        open_one("libmissing.so", RTLD_NOW);
    else if (!strcmp(what, "invalid"))
        open_one("libleaf.so", 0);
    else
        cycles(atoi(what));
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("start\n"); /* break: start */
    for (int i = 1; i < argc; i++)
        run(argv, argv[i]);
    printf("end\n"); /* break: end */
    return 0;
}
