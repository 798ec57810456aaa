/* The same names for variables. */
int number = 2;
int zero = 2;
