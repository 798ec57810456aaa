/* A program at a fixed address: the COPY of shared_variable and the canonical address of
   shared_function are its own, calls of shared_function go to the first library. */
#include <stdio.h>

extern int shared_variable;
int shared_function(void);
int first_address(int (*)(void)), second_address(int (*)(void));
int first_variable(void), second_variable(void), caller_calls(void);

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    shared_variable += 4;
    printf("call %d\n", shared_function());
    printf("same address %d %d\n", first_address(shared_function), second_address(shared_function));
    printf("variable %d %d\n", first_variable(), second_variable());
    printf("caller %d\n", caller_calls());
    printf("loaded\n"); /* break: loaded */
    return 0;
}
