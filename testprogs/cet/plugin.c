/* Built for branch protection: IBT PLTs (.plt.sec) on x86-64, BTI (and signed return addresses) on
   arm64. rand() was called when the host reaches "returned", labs() never is. */
#include <stdlib.h>

int plugin_run(void);
int never(void);

int plugin_run(void)
{
    return rand() < 0;
}

int never(void)
{
    return (int)labs(-3);
}
