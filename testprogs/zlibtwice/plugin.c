int plugin_run(void);
int begin_stream(int **made);

int plugin_run(void)
{
    return begin_stream(0);
}
