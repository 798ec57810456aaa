/* What users of libversions.so are linked with; it is not there when they run. */
int twin(void), triple(void), hidden(void);

int twin(void) { return -1; }
int triple(void) { return -1; }
int hidden(void) { return -1; }
