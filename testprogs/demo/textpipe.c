/* textpipe: reads records and passes each through the filters found in a folder of plugins.

   Its metrics are those of API 1: it has metrics_count, and no metrics_observe. The plugin libwords.so
   was written for API 2; see there for the bug. */
#include <dirent.h>
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline.h"

#define MAX_FILTERS 16

struct plugin {
    void *handle;
    const struct filter *filter;
};

static struct plugin plugins[MAX_FILTERS];
static size_t plugin_count;
static unsigned long counted;

void pipeline_log(const char *filter, const char *format, ...)
{
    va_list arguments;

    printf("[%s] ", filter);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void metrics_count(const char *name, unsigned long by)
{
    (void)name;
    counted += by;
}

static void load_plugin(const char *path)
{
    if (plugin_count == MAX_FILTERS)
        return;
    void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        pipeline_log("textpipe", "skipped: %s", dlerror());
        return;
    }
    filter_entry entry = (filter_entry)dlsym(handle, "pipeline_filter");
    if (entry == NULL) {
        pipeline_log("textpipe", "skipped: %s has no pipeline_filter", path);
        dlclose(handle);
        return;
    }
    const struct filter *filter = entry();
    if (filter->start("") != 0) {
        dlclose(handle);
        return;
    }
    plugins[plugin_count].handle = handle;
    plugins[plugin_count].filter = filter;
    plugin_count++;
    pipeline_log("textpipe", "loaded %s (API %d)", filter->name, filter->api);
}

static int is_plugin(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

static void load_plugins(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_plugin, alphasort);

    for (int i = 0; i < count; i++) {
        char path[PATH_MAX + sizeof entries[i]->d_name + 1];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        load_plugin(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static void run_pipeline(struct record *record)
{
    for (size_t i = 0; i < plugin_count; i++)
        if (plugins[i].filter->handle(record) != 0)
            return;
    printf("%u: %s\n", record->number, record->text);
}

/* The plugins live beside the program, in plugins/. */
static void default_folder(char *folder, size_t size)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);

    program[length > 0 ? length : 0] = '\0';
    snprintf(folder, size, "%s/plugins", dirname(program));
}

int main(int argc, char **argv)
{
    static const char *const lines[] = {
        "the quick brown fox", "jumps over", "", "the lazy dog",
    };
    char folder[PATH_MAX + 16];

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        snprintf(folder, sizeof folder, "%s", argv[1]);
    else
        default_folder(folder, sizeof folder);
    load_plugins(folder);
    pipeline_log("textpipe", "%zu filters", plugin_count); /* break: loaded */

    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct record record = { .number = i + 1 };
        snprintf(record.text, sizeof record.text, "%s", lines[i]);
        run_pipeline(&record);
    }
    for (size_t i = plugin_count; i-- > 0;) {
        plugins[i].filter->stop();
        dlclose(plugins[i].handle);
    }
    pipeline_log("textpipe", "counted %lu", counted);
    return 0;
}
