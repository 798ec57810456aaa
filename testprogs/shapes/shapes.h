/* What the host, libplugin.so and libother.so have of each other. */
int setting(int value);    /* host, with a default in libplugin.so */
int ask(int value);        /* libplugin.so: goes to setting() */
int call_back(int value);  /* libother.so: a tail call through a pointer of its own, which is null */
int tail(int value);       /* libplugin.so: a tail call of a function that nothing defines */
int wide(unsigned size);   /* libplugin.so: an array larger than the stack */
int ping(long depth);      /* libplugin.so: calls pong(), */
int pong(long depth);      /* libother.so, which calls ping() */
int rename_it(void);       /* libplugin.so: strcpy() to a string literal */
int send_copy(void);       /* libplugin.so: hands over a structure that libother.so has otherwise */
