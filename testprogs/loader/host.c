/* Opens each argument in turn. Words with a colon before the path say how:
     now: lazy: global: local: deep: nodelete: noload:   flags of dlopen (lazy and local by default)
     new:                                                in a new namespace, by dlmopen
     close:                                              dlclose the handle of the argument of that number
   and the argument "wait" says "ready" and waits for a line. A failure is printed, and is no reason
   to stop. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RTLD_DEEPBIND /* musl has none */
#define RTLD_DEEPBIND 0
#endif

static const struct word {
    const char *text;
    int set;
    int clear;
} words[] = {
    { "now:", RTLD_NOW, RTLD_LAZY },     { "lazy:", RTLD_LAZY, RTLD_NOW },
    { "global:", RTLD_GLOBAL, 0 },       { "local:", 0, RTLD_GLOBAL },
    { "deep:", RTLD_DEEPBIND, 0 },       { "nodelete:", RTLD_NODELETE, 0 },
    { "noload:", RTLD_NOLOAD, 0 },
};

static int starts(const char **text, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*text, word, length) != 0)
        return 0;
    *text += length;
    return 1;
}

static const char *flags_of(const char *text, int *flags)
{
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (starts(&text, words[i].text)) {
            *flags = (*flags & ~words[i].clear) | words[i].set;
            i = -1u; /* from the first word again */
        }
    return text;
}

static void *open_one(const char *text)
{
    int flags = RTLD_LAZY;
    void *handle;

#ifdef LM_ID_NEWLM
    if (starts(&text, "new:")) {
        text = flags_of(text, &flags);
        handle = dlmopen(LM_ID_NEWLM, text, flags);
    } else
#endif
    {
        text = flags_of(text, &flags);
        handle = dlopen(text, flags); /* break: dlopen */
    }
    if (handle == NULL)
        printf("failed: %s\n", dlerror()); /* break: failed */
    else
        printf("opened %s\n", text); /* break: each */
    return handle;
}

static void wait_for_line(void)
{
    char line[16];

    printf("ready\n"); /* break: ready */
    if (fgets(line, sizeof line, stdin) == NULL)
        printf("no line\n");
}

int main(int argc, char **argv)
{
    void **handles = calloc((size_t)argc, sizeof *handles);

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc && handles != NULL; i++) {
        const char *text = argv[i];
        if (strcmp(text, "wait") == 0)
            wait_for_line();
        else if (starts(&text, "close:"))
            printf("closed %d\n", dlclose(handles[atoi(text) % argc]));
        else
            handles[i] = open_one(text);
    }
    printf("loaded\n"); /* break: loaded */
    free(handles);
    return 0;
}
