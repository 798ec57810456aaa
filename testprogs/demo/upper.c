/* A filter that writes every record in capitals. */
#include <ctype.h>

#include "pipeline.h"

static int start(const char *options)
{
    (void)options;
    return 0;
}

static int handle(struct record *record)
{
    for (char *c = record->text; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    return 0;
}

static void stop(void)
{
}

static const struct filter filter = { 1, "upper", start, handle, stop };

const struct filter *pipeline_filter(void)
{
    return &filter;
}
