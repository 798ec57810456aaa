/* All names of the other libraries once more. */
int section(void), file(void), unknown(void), local(void), zero(void), none(void);

int section(void) { return 2; }
int file(void) { return 2; }
int unknown(void) { return 2; }
int local(void) { return 2; }
int zero(void) { return 2; }
int none(void) { return 2; }
