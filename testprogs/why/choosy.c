/* What an nginx and a Go program export, and with HOST undefined what their plugins do: versions, a
   signature and the hash of a package. The host opens its arguments, and keeps what it does not
   like, as Go does. */
#include <dlfcn.h>
#include <stdint.h>

struct ngx_module {
    uintptr_t ctx_index, index;
    char *name;
    uintptr_t spare0, spare1, version;
    const char *signature;
    uintptr_t rest[18];
};

const char hash[8] __asm__("go.link.pkghashbytes.fmt") = { HASH, 2, 3, 4, 5, 6, 7, 8 };

#ifdef HOST
struct ngx_module ngx_core_module = { .version = VERSION, .signature = "8,4,8,0011111111010111001111111111111111" };

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
    return 0; /* break: chosen */
}
#else
struct ngx_module ngx_choosy_module = { .version = VERSION, .signature = "8,4,8,0011111111010111001111111111111111" };
struct ngx_module *ngx_modules[] = { &ngx_choosy_module, 0 };
#endif
