/* A library with a constructor and a destructor of its own. */
#include <stdio.h>

int leaf_value = 7;

int leaf(void);

int leaf(void)
{
    return leaf_value;
}

__attribute__((constructor)) static void leaf_begins(void)
{
    leaf_value++;
}

__attribute__((destructor)) static void leaf_ends(void)
{
    leaf_value--;
}
