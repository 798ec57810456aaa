/* libc opens libraries too: an NSS module on getpwnam, and (where there are any) a gconv module on
   iconv_open. The caller of dlopen is libc, and no program code names a library. */
#include <iconv.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("start\n"); /* break: start */
    __nss_configure_lookup("passwd", "compat");
    (void)getpwnam("no such user");
    iconv_t conversion = iconv_open("UTF-8", "ISO-8859-2");
    if (conversion != (iconv_t)-1)
        printf("iconv\n");
    printf("loaded\n"); /* break: loaded */
    return 0;
}
