/* Registers itself in its constructor, and does not say that it needs the registry. */
int register_name(const char *name);

__attribute__((constructor)) static void begin(void)
{
    register_name("client"); /* break: call */
}
