/* A filter that counts words and reports the mean.

   The bug: report() asks whether the host has metrics at all by looking at metrics_count, and takes
   metrics_observe for granted. textpipe has the first and not the second: the GOT slot of
   metrics_observe holds null, and the call goes to address zero. */
#include <ctype.h>

#include "pipeline.h"

static unsigned long words;
static unsigned long records;

static unsigned long count_words(const char *text)
{
    unsigned long count = 0;
    int inside = 0;

    for (; *text != '\0'; text++) {
        int space = isspace((unsigned char)*text);
        if (!space && !inside)
            count++;
        inside = !space;
    }
    return count;
}

static void report(unsigned long count)
{
    metrics_count("words", count);
    metrics_observe("words.mean", (double)words / (double)records); /* break: crash */
}

static int start(const char *options)
{
    (void)options;
    words = records = 0;
    return 0;
}

static int handle(struct record *record)
{
    unsigned long count = count_words(record->text);

    words += count;
    records++;
    if (metrics_count)
        report(count);
    return 0;
}

static void stop(void)
{
    pipeline_log("words", "%lu words in %lu records", words, records);
}

static const struct filter filter = { 2, "words", start, handle, stop };

const struct filter *pipeline_filter(void)
{
    return &filter;
}
