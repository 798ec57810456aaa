/* Exports nothing. */
static int nothing __attribute__((used)) = 1;
