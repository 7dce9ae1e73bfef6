"""How measures are called, the same in tables, sentences, plots and lines of progress."""

# column -> (title, format, how it reads); a column stands in the table where a row has it
COLUMNS: dict[str, tuple[str, str]] = {
    "perplexity": ("perplexity", ",.2f"),
    "masked_accuracy": ("masked accuracy", ".4f"),
    "rouge_l": ("ROUGE-L", ".2f"),
    "accuracy": ("accuracy", ".4f"),
    "micro_f1": ("micro-F1", ".4f"),
    "subset_accuracy": ("subset accuracy", ".4f"),
    "f1": ("F1", ".4f"),
    "exact_match": ("exact match", ".4f"),
    "precision": ("precision", ".4f"),
    "recall": ("recall", ".4f"),
    "token_accuracy": ("token accuracy", ".4f"),
    "pearson": ("Pearson", ".4f"),
    "spearman": ("Spearman", ".4f"),
    "rmse": ("RMSE", ".4f"),
    "macro_f1": ("macro-F1", ".4f"),
    "worst_class": ("worst class F1", ".4f"),
    "typos": ("with typos", ".4f"),
    "case": ("in other case", ".4f"),
    "agreement": ("agreement", ".4f"),
    "agreement_right": ("agreement, teacher right", ".4f"),
    "agreement_wrong": ("agreement, teacher wrong", ".4f"),
    "kl_to_teacher": ("KL to teacher", ".4f"),
    "rmse_to_teacher": ("RMSE to teacher", ".4f"),
    "ece": ("ECE", ".4f"),
    "nll": ("NLL", ".4f"),
    "parameters": ("parameters", ",d"),
    "body_parameters": ("without word vectors", ",d"),
    "megabytes": ("MB", ".1f"),
    "peak_megabytes": ("peak MB", ".1f"),
    "megaflops": ("MFLOP a text", ",.1f"),
    "latency_p50_ms": ("p50 ms", ".2f"),
    "latency_p95_ms": ("p95 ms", ".2f"),
    "latency_p99_ms": ("p99 ms", ".2f"),
    "sentences_per_second": ("sent./s", ",.0f"),
    "tokens_per_second": ("tokens/s", ",.0f"),
}


def title(measure: str) -> str:
    """ "micro-F1" of `micro_f1`; one that is not ours, as lm-eval's, stays as it is."""
    return COLUMNS[measure][0] if measure in COLUMNS else measure
