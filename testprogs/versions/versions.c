/* Functions in several versions. Version indices are in the order of versions.map: V1 is 2. */
#define VERSION(name, function, version) __asm__(".symver " #function "," #name version)

int twin_1(void), twin_2(void), twin_3(void), triple_2(void), triple_3(void), hidden_2(void);

int twin_1(void) { return 1; }
int twin_2(void) { return 2; }
int twin_3(void) { return 3; }
int triple_2(void) { return 2; }
int triple_3(void) { return 3; }
int hidden_2(void) { return 2; }

VERSION(twin, twin_1, "@V1");
VERSION(twin, twin_2, "@V2");
VERSION(twin, twin_3, "@@V3");
VERSION(triple, triple_2, "@V2");
VERSION(triple, triple_3, "@@V3");
VERSION(hidden, hidden_2, "@V2");
