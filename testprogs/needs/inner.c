/* libinner.so: its constructor runs while libopener.so's call of dlopen does. */
static volatile int started;

__attribute__((constructor)) static void start(void)
{
    started = 1; /* break: inner */
}
