/* What still fits into static TLS. libprobe.so is initial-exec; copies of it that say another size and
   alignment in their PT_TLS are dlopened, one for each "SIZE ALIGN" line of the file `sizes`. The
   program has no such line when it starts: a test writes them once it was told what is left. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char image[1 << 20];

static const char *own_folder(const char *program)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s", program);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    return slash != NULL ? folder : ".";
}

static size_t read_template(const char *folder)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/libprobe.so", folder);
    FILE *file = fopen(path, "rb");
    size_t size = file == NULL ? 0 : fread(image, 1, sizeof image, file);
    if (size == 0) {
        perror(path);
        exit(2);
    }
    fclose(file);
    return size;
}

static void write_probe(const char *path, size_t length, size_t size, size_t align)
{
    ElfW(Ehdr) *header = (ElfW(Ehdr) *)image;
    ElfW(Phdr) *segments = (ElfW(Phdr) *)(image + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_TLS) {
            segments[i].p_memsz = size;
            segments[i].p_align = align;
        }
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(image, 1, length, file) != length || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    size_t size, align;
    int number = 0;
    const char *said = "";

    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    size_t length = read_template(own_folder(argv[0]));
    printf("ready\n"); /* break: ready */
    FILE *sizes = fopen("sizes", "r");
    while (sizes != NULL && fscanf(sizes, "%zu %zu", &size, &align) == 2) {
        char path[64];
        snprintf(path, sizeof path, "./probe-%d.so", number++);
        write_probe(path, length, size, align);
        said = dlopen(path, RTLD_NOW) != NULL ? "fits" : dlerror();
        printf("%zu %zu %s\n", size, align, said); /* break: probed */
    }
    printf("done\n"); /* break: done */
    return 0;
}
