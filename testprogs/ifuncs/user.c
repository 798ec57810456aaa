/* Calls IFUNCs of another library, and libc's whose results are in the vDSO where there is one. */
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

int twin(void);
int borrowed(int);
int user_calls(void);

static int (*volatile pointer)(void) = twin;

int user_calls(void)
{
    struct timeval now;

    return twin() + pointer() + borrowed(-40) + (time(NULL) > 0) + gettimeofday(&now, NULL);
}
