/* A function that is called and whose address is taken: x86-64 calls it through .plt.got. */
#include <unistd.h>

pid_t (*pointer)(void);
int call_it(void);

int call_it(void)
{
    pointer = getppid;
    return getppid() == pointer();
}
