/* Writes to a constant of the library. */
const char greeting[] = "hello";
int plugin_run(void);

int plugin_run(void)
{
    volatile char *letter = (volatile char *)&greeting[1];
    *letter = 'a'; /* break: crash */
    return 1;
}
