/* A filter that drops empty records and counts the ones it kept. */
#include "pipeline.h"

static unsigned long kept;

static int start(const char *options)
{
    (void)options;
    kept = 0;
    return 0;
}

static int handle(struct record *record)
{
    if (record->text[0] == '\0')
        return 1;
    kept++;
    if (metrics_count)
        metrics_count("records.kept", 1);
    return 0;
}

static void stop(void)
{
    pipeline_log("skip", "kept %lu records", kept);
}

static const struct filter filter = { 1, "skip", start, handle, stop };

const struct filter *pipeline_filter(void)
{
    return &filter;
}
