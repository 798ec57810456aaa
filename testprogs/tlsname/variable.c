/* A TLS variable. */
__thread int thing = 3;
