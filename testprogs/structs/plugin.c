/* Built with the older layout. */
struct settings {
    const char *name;
    long size;
};

int plugin_run(void);
int apply(struct settings *settings);

int plugin_run(void)
{
    struct settings settings = {"plugin", 8};
    return apply(&settings); /* break: call */
}
