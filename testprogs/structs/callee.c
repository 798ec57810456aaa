/* Built with the newer layout, in which `log` comes before `size`. */
struct settings {
    const char *name;
    int *log;
    long size;
};

int apply(struct settings *settings);

int apply(struct settings *settings)
{
    *settings->log += 1;
    return (int)settings->size;
}
