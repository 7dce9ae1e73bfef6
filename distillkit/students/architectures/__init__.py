"""Architectures that transformers lacks: its auto classes are told of them.

Every other architecture is transformers' own, made by its config.
"""


def register_architectures() -> None:
    """Let transformers' auto classes make, save and load TextCNN and BiLSTM.

    The safe way to load such a model: called before, nothing of the model's folder is run. Models
    that are saved afterwards carry their code with them (`auto_map`) all the same, for users
    without distillkit, who must read it and trust it. It may be called more than once.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    from distillkit.students.architectures import bilstm, textcnn

    for config, body, classifier in (
        (textcnn.TextCNNConfig, textcnn.TextCNNModel, textcnn.TextCNNForSequenceClassification),
        (bilstm.BiLSTMConfig, bilstm.BiLSTMModel, bilstm.BiLSTMForSequenceClassification),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, body, exist_ok=True)
        AutoModelForSequenceClassification.register(config, classifier, exist_ok=True)
        config.register_for_auto_class()
        body.register_for_auto_class("AutoModel")
        classifier.register_for_auto_class("AutoModelForSequenceClassification")
