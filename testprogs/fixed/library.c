/* A variable and functions that two libraries and the program know. */
int shared_variable = VALUE;
int shared_function(void);
#if VALUE == 1
int first_address(int (*)(void));
int first_variable(void);
#define ADDRESS first_address
#define VARIABLE first_variable
#else
int second_address(int (*)(void));
int second_variable(void);
#define ADDRESS second_address
#define VARIABLE second_variable
#endif

int shared_function(void)
{
    return VALUE;
}

int ADDRESS(int (*function)(void))
{
    return function == shared_function;
}

int VARIABLE(void)
{
    return shared_variable + 10 * shared_function();
}
