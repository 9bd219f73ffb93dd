package wire

import "github.com/stetl/stetl/core/diag"

// Codes of the plugin boundary: why a plugin could not be used.
const (
	PluginBadName           diag.Code = "plugin.bad_name"
	PluginNotFound          diag.Code = "plugin.not_found"
	PluginNotExecutable     diag.Code = "plugin.not_executable"
	PluginWrongArchitecture diag.Code = "plugin.wrong_architecture"
	PluginCannotStart       diag.Code = "plugin.cannot_start"
	PluginBadHandshake      diag.Code = "plugin.bad_handshake"
	PluginWrongProtocol     diag.Code = "plugin.wrong_protocol"
	PluginDiedAtStart       diag.Code = "plugin.died_at_start"
	PluginStartTimeout      diag.Code = "plugin.start_timeout"
	PluginBrokeProtocol     diag.Code = "plugin.broke_protocol"
	PluginConfigureFailed   diag.Code = "plugin.configure_failed"
	PluginFinishFailed      diag.Code = "plugin.finish_failed"
	PluginCloseFailed       diag.Code = "plugin.close_failed"
)

// Codes of the plugin boundary: why a user has no better outcome.
const (
	// PluginCrash: the plugin's process ended while the user was with it.
	PluginCrash diag.Code = "plugin.crash"
	// PluginPanic: the plugin's code panicked while the user was with it.
	PluginPanic diag.Code = "plugin.panic"
	// PluginNoAnswer: the plugin ended the batch without an outcome, or the
	// host stopped waiting for one.
	PluginNoAnswer diag.Code = "plugin.no_answer"
	// PluginNotSent: in doubt by the letter only; the user never left the host.
	PluginNotSent diag.Code = "plugin.not_sent"
	// LoadUndecided: the plugin gave up on the rest of a batch and said why.
	LoadUndecided     diag.Code = "load.undecided"
	LoadUserTooLarge  diag.Code = "load.user_too_large"
	LoadInvalidUser   diag.Code = "load.invalid_user"
	LoadDuplicateUser diag.Code = "load.duplicate_user"
)
