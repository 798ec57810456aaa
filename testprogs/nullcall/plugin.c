/* Calls a weak function that nothing defines: the slot holds null, the program counter becomes 0.
   Built twice: through a PLT (JUMP_SLOT) and with -fno-plt (GLOB_DAT). */
void optional_feature(int value) __attribute__((weak));
int plugin_run(void);

int plugin_run(void)
{
    optional_feature(3); /* break: crash */
    return 1;
}
