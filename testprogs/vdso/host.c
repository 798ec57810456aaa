/* Asks for the time in three ways: on x86-64 time() and gettimeofday() may resolve into the vDSO. */
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

int main(void)
{
    struct timeval now;
    struct timespec precise;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fine = time(NULL) > 0 && gettimeofday(&now, NULL) == 0;
    fine += clock_gettime(CLOCK_REALTIME, &precise) == 0;
    printf("loaded %d\n", fine); /* break: loaded */
    return 0;
}
