/* Nothing but data, with addresses in it: relocations (relative and absolute) and no GOT. */
extern const char pointers_text[];
const char pointers_text[] = "pointed at";
const char *const pointers_public[] = { pointers_text };
static const int hidden = 5;
const int *const pointers_hidden[] = { &hidden };
