/* Has a function of its own under a name that the program uses too: the program's is called, and
   takes the plugin's text for a structure. */
int plugin_run(void);
int length_of(const char *const *text);

int length_of(const char *const *text)
{
    const char *letters = (const char *)text;
    int count = 0;
    while (letters[count] != 0)
        count++;
    return count;
}

int plugin_run(void)
{
    return length_of((const char *const *)(const void *)"x\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); /* break: call */
}
