/* Nothing but data: no code, no GOT, no PLT, no relocations. */
int data_table[4] = { 1, 2, 3, 36 };
const char data_name[] = "data only";
