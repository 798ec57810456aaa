/* The plugin API of textpipe, a small text pipeline: each plugin is a filter for one record. */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stddef.h>

#define PIPELINE_API 2

struct record {
    unsigned number;
    char text[120];
};

struct filter {
    int api;
    const char *name;
    int (*start)(const char *options);
    int (*handle)(struct record *record);
    void (*stop)(void);
};

/* Every plugin exports one of these. */
typedef const struct filter *(*filter_entry)(void);
const struct filter *pipeline_filter(void);

/* What the host offers to plugins. */
void pipeline_log(const char *filter, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Metrics are optional: a host built without them leaves these undefined.
   metrics_count came with API 1, metrics_observe with API 2. */
void metrics_count(const char *name, unsigned long by) __attribute__((weak));
void metrics_observe(const char *name, double value) __attribute__((weak));

#endif
