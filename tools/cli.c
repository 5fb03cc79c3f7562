/* SPDX-License-Identifier: Apache-2.0 */
/* cli.c - what every verb shares. */
#include "cli.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/error.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- signals ---- */

static volatile sig_atomic_t last_signal;

static void
on_signal(int number)
{
    if (last_signal == SIGINT && number == SIGINT) {
        _exit(128 + SIGINT);
    }
    last_signal = number;
}

void
mri_signals_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction a = {.sa_handler = on_signal};

    (void)sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < MRI_COUNT(numbers); i++) {
        (void)sigaction(numbers[i], &a, NULL);
    }
    /* A file that may not grow is an error of write(2), not a death. */
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

bool
mri_signals_stop(void)
{
    return last_signal != 0;
}

int
mri_signals_last(void)
{
    return last_signal;
}

/* ---- begin ---- */

static bool
watch_stop(void *user)
{
    (void)user;
    return mri_signals_stop();
}

static void
watch_progress(void *user, const mr_progress *now)
{
    mri_progress_show(&((mri_cli *)user)->line, now);
}

/* The verb's options, then those that all verbs have. */
static bool
merge_options(mri_cli *cli, const mri_opt *opts)
{
    const mri_opt common[] = {
        {MRI_OPT_FLAG, 0, "json", &cli->json, NULL,
         "machine-readable output on stdout", false},
        {MRI_OPT_FLAG, 'q', "quiet", &cli->quiet, NULL,
         "no progress, no remarks", false},
        {MRI_OPT_FLAG, 'v', "verbose", &cli->verbose, NULL, "say more", false},
        {MRI_OPT_FLAG, 0, "no-mmap", &cli->no_mmap, NULL,
         "do not map datasets into memory (NFS, Lustre)", false},
        {MRI_OPT_CHOICE, 0, "color", &cli->color, "auto|always|never",
         "colours on a terminal", false},
        {MRI_OPT_TEXT, 0, "config", &cli->config, "FILE",
         "YAML file with options by their long names", false},
        {MRI_OPT_FLAG, 'h', "help", &cli->help, NULL, "this text", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    size_t n = 0;

    while (opts[n].kind != MRI_OPT_END) {
        n++;
    }
    cli->opts = mri_alloc(n + MRI_COUNT(common), sizeof *cli->opts);
    if (cli->opts == NULL) {
        return false;
    }
    memcpy(cli->opts, opts, n * sizeof *opts);
    memcpy(cli->opts + n, common, sizeof common);
    return true;
}

static char *
join_command(int argc, char **argv)
{
    mri_bytes b = {0};
    bool ok = mri_bytes_text(&b, "millrace");

    for (int i = 0; i < argc; i++) {
        ok = ok && mri_bytes_text(&b, " %s", argv[i]);
    }
    if (!ok) {
        mri_bytes_release(&b);
        return NULL;
    }
    return (char *)b.data;
}

static mr_err
apply_value(mri_cli *cli, const char *key, const mri_conf *value, mr_diag *diag)
{
    const char *text;
    mr_err err;

    if (value->kind == MRI_CONF_LIST) {
        for (size_t i = 0; i < value->count; i++) {
            err = apply_value(cli, key, &value->items[i], diag);
            if (err != MR_OK) {
                return err;
            }
        }
        return MR_OK;
    }
    err = mri_conf_text(value, key, &text, diag);
    if (err != MR_OK) {
        return err;
    }
    err = mri_opt_set(cli->opts, key, text, diag);
    if (err != MR_OK && diag != NULL) {
        char why[sizeof diag->text];

        memcpy(why, diag->text, sizeof why);
        err =
            mri_fail(diag, (mri_code)diag->code, MR_NOWHERE,
                     "line %u, column %u: %s", value->line, value->column, why);
    }
    return err;
}

/* What the command line says stands above what the file says. */
static mr_err
apply_config(mri_cli *cli, mr_diag *diag)
{
    mr_err err;

    if (cli->config == NULL) {
        return MR_OK;
    }
    err = mri_conf_load(&cli->conf, cli->config, diag);
    if (err == MR_OK && cli->conf->kind != MRI_CONF_MAP &&
        cli->conf->kind != MRI_CONF_NULL) {
        err = mri_conf_fail(cli->conf, diag, "a config is a map of options");
    }
    for (size_t i = 0; err == MR_OK && i < cli->conf->count; i++) {
        if (!mri_cli_seen(cli, cli->conf->keys[i])) {
            err = apply_value(cli, cli->conf->keys[i], &cli->conf->items[i],
                              diag);
        }
    }
    mri_diag_in(err != MR_OK ? diag : NULL, cli->config);
    return err;
}

static int
print_help(const mri_cli *cli, const mri_cmd_doc *doc)
{
    mri_bytes text = {0};
    bool ok = cli->roff ? mri_opt_roff(&text, doc, cli->opts, "2026-11-21")
                        : mri_opt_help(&text, doc, cli->opts);

    if (ok) {
        (void)fwrite(text.data, 1, text.len, stdout);
    }
    mri_bytes_release(&text);
    return ok ? 0 : 8;
}

static int
print_kinds(const mri_cmd_doc *doc)
{
    for (const char *p = doc->kinds; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, " ");

        (void)printf("%.*s\n", (int)n, p);
        p += n + (p[n] == ' ');
    }
    return 0;
}

static int
print_names(const mri_cli *cli)
{
    for (const mri_opt *o = cli->opts; o->kind != MRI_OPT_END; o++) {
        (void)printf("--%s\t%s\t%s\n", o->long_name,
                     o->arg != NULL ? o->arg : "", o->help);
    }
    return 0;
}

int
mri_cli_begin(mri_cli *cli, int argc, char **argv, const mri_cmd_doc *doc,
              const mri_opt *opts)
{
    mr_diag diag = {0};
    mr_err err;

    *cli = (mri_cli){.verb = doc->name};
    mri_signals_catch();
    /* Not for people, as is --kinds: the build and the shells make pages and
     * completions of them. */
    cli->roff = argc == 2 && strcmp(argv[1], "--roff") == 0;
    cli->names = argc == 2 && strcmp(argv[1], "--names") == 0;
    cli->command = join_command(argc, argv);
    if (!merge_options(cli, opts)) {
        return 8;
    }
    if (cli->roff) {
        return print_help(cli, doc);
    }
    if (cli->names) {
        return print_names(cli);
    }
    if (argc == 2 && strcmp(argv[1], "--kinds") == 0) {
        return print_kinds(doc);
    }
    err = mri_opt_parse(argc, argv, cli->opts, &cli->rest, &diag);
    if (err == MR_OK && !cli->help) {
        err = apply_config(cli, &diag);
    }
    if (err != MR_OK) {
        return mri_cli_done(cli, err, &diag);
    }
    if (cli->help) {
        return print_help(cli, doc);
    }
    if (cli->no_mmap) { /* for helper processes too; no thread runs yet */
        (void)setenv("MILLRACE_NO_MMAP", "1", 1);
    }
    mri_progress_init(&cli->line, cli->verb, cli->quiet);
    cli->watch = (mr_watch){cli, watch_progress, watch_stop};
    return -1;
}

bool
mri_cli_seen(const mri_cli *cli, const char *name)
{
    for (const mri_opt *o = cli->opts; o->kind != MRI_OPT_END; o++) {
        if (strcmp(o->long_name, name) == 0) {
            return o->seen;
        }
    }
    return false;
}

void
mri_cli_blame_pipeline(mr_diag *diag, const char *file)
{
    bool text = diag->code >= MRI_E_CONFIG && diag->code <= MRI_E_CONFIG_VALUE;
    bool operation =
        diag->code >= MRI_E_PIPE_OP && diag->code <= MRI_E_PIPE_FIT;

    if (file != NULL && (text || operation)) {
        diag->path[0] = '\0';
        mri_diag_in(diag, file);
    }
}

mr_err
mri_cli_args(const mri_cli *cli, size_t least, size_t most, mr_diag *diag)
{
    if (cli->rest.count < least) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "%s needs %zu argument%s, got %zu", cli->verb, least,
                        least == 1 ? "" : "s", cli->rest.count);
    }
    if (most != 0 && cli->rest.count > most) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "%s takes %zu argument%s, got '%s' as well", cli->verb,
                        most, most == 1 ? "" : "s", cli->rest.at[most]);
    }
    return MR_OK;
}

/* ---- end ---- */

static bool
colored(const mri_cli *cli)
{
    const char *no = getenv("NO_COLOR");

    return cli->color == 1 ||
           (cli->color == 0 && isatty(2) && (no == NULL || *no == '\0'));
}

int
mri_cli_done(mri_cli *cli, mr_err err, const mr_diag *diag)
{
    char line[1024];
    const char *help;

    mri_progress_clear(&cli->line);
    if (err == MR_OK) {
        return 0;
    }
    if (err == MR_ESTOP) {
        bool interrupted = mri_signals_last() == SIGINT;

        mri_cli_say(cli, "stopped; run the same command again to go on");
        return interrupted ? 128 + SIGINT : 75;
    }
    (void)mri_diag_line(diag, line, sizeof line);
    (void)fprintf(stderr, "%smillrace: %s%s\n", colored(cli) ? "\033[31m" : "",
                  line, colored(cli) ? "\033[0m" : "");
    help = mr_code_help(diag->code);
    if (*help != '\0') {
        (void)fprintf(stderr, "  help: %s\n", help);
    }
    return mr_err_exit(err);
}

int
mri_cli_end(mri_cli *cli, int rc)
{
    mri_progress_clear(&cli->line);
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE && rc == 0) {
        (void)fprintf(stderr,
                      "millrace: error[E%04u]: cannot write the output: %s\n"
                      "  help: %s\n",
                      (unsigned)MRI_E_WRITE, strerror(errno),
                      mr_code_help(MRI_E_WRITE));
        rc = 5;
    }
    if (cli->opts != NULL) {
        mri_opt_release(cli->opts);
    }
    mri_free(cli->opts);
    mri_texts_release(&cli->rest);
    mri_conf_free(cli->conf);
    mri_free(cli->command);
    *cli = (mri_cli){0};
    return rc;
}

static void say(const mri_cli *cli, const char *before, const char *fmt,
                va_list args) MRI_PRINTF(3, 0);

static void
say(const mri_cli *cli, const char *before, const char *fmt, va_list args)
{
    /* A line of progress gives way, and comes back by itself. */
    mri_progress_clear((mri_progress_line *)(uintptr_t)&cli->line);
    (void)fprintf(stderr, "%s", before);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
}

void
mri_cli_say(const mri_cli *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->quiet) {
        return;
    }
    va_start(args, fmt);
    say(cli, "", fmt, args);
    va_end(args);
}

void
mri_cli_warn(const mri_cli *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(cli, "millrace: warning: ", fmt, args);
    va_end(args);
}

mr_err
mri_cli_new_name(const char *name, mr_diag *diag)
{
    const char *at = strrchr(name, '@');
    struct stat st;
    uint64_t generation;

    if (at == NULL || !mri_parse_u64(at + 1, &generation) ||
        stat(name, &st) == 0) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "-o cannot be '%s', which means generation %s of '%.*s': "
                    "give the name without '%s'",
                    name, at + 1, (int)(at - name), name, at);
}

mr_err
mri_cli_number(const char *name, uint64_t value, uint64_t least, uint64_t most,
               mr_diag *diag)
{
    if (value >= least && value <= most) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "--%s cannot be %llu: expected %llu to %llu", name,
                    (unsigned long long)value, (unsigned long long)least,
                    (unsigned long long)most);
}

mr_err
mri_cli_ms(const char *name, double seconds, uint32_t *ms, mr_diag *diag)
{
    if (!(seconds > 0 && seconds < 1e6)) { /* not a number: refused as well */
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "--%s: expected seconds, more than 0 and less than a "
                        "million",
                        name);
    }
    *ms = (uint32_t)ceil(seconds * 1000);
    return MR_OK;
}

const char *
mri_cli_modules(char *out, size_t bytes)
{
    char exe[512];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;

    if (n <= 0) {
        return NULL;
    }
    exe[n] = '\0';
    for (int i = 0; i < 2; i++) { /* bin/millrace */
        slash = strrchr(exe, '/');
        if (slash == NULL) {
            return NULL;
        }
        *slash = '\0';
    }
    n = snprintf(out, bytes, "%s/lib/millrace", exe);
    return n > 0 && (size_t)n < bytes ? out : NULL;
}

mr_err
mri_cli_json(mri_json *j, mr_diag *diag)
{
    const char *text = mri_json_done(j);
    mr_err err = MR_OK;

    if (text != NULL) {
        (void)printf("%s\n", text);
    } else {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    mri_json_release(j);
    return err;
}
